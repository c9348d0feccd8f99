"""A folder over HTTP, for this machine: its files, its .rgn files as pictures, and lists of what it holds.

    folder      the path of a request -> a file or a folder below the root, or nothing
    pictures    the query of a request -> how a .rgn file is decoded; the decoding, in a process that can be ended
    site        request -> response: the headers of browsers, conditions, limits

Needs the extra `serve` (Starlette; uvicorn for the command).
"""
