"""Everything private or undocumented of other packages that hybridlit touches, one function each.

Each says what it is for, the versions it was seen in, and what to do if it goes. Nothing is
imported here: a room takes the module of the package that it uses anyway.
"""
