"""Event loops: the one behind the synchronous API, many jobs at once, Ctrl-C."""
