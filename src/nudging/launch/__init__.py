"""A pair on two vLLM servers of this machine: their memory, their start, their end."""
