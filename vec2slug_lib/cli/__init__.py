"""The command ``vec2slug``: slugs from text or vectors, and every step of the book.

A command reads its options, calls one room, and prints; it holds no logic of its own. Heavy
packages are imported by the command that needs them, so that a slug comes quickly.

In: arguments. Out: lines on stdout, progress and errors on stderr, an exit code.
"""
