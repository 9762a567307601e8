"""What a running `nudge serve` withstands: load, clients that leave, faults, bad requests and keys.

Each experiment is a module with one function, bounded in count and time. It talks to real
processes over loopback and gives its figures, and the `problems` that it found.
"""
