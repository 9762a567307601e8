"""The capacity model against servers of known speed, and what it says of larger fleets.

`make capacity` runs all of it and writes docs/scale.md. Needs nothing else on the machine.
"""
