"""Tools of untrusted roles run here: each call in a child process of its own, which the kernel confines.

``parent`` starts the child and reads its one answer; ``folders`` decides what it may read; ``child`` is the program that
it runs, with ``limits``, ``landlock`` and ``seccomp`` as its walls. What the child imports before it is confined is the
standard library and those files.
"""
