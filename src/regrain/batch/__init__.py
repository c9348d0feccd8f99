"""Many pictures at once: a tree, a pattern, a bucket, on this machine or on a cluster.

    plan       inputs and an output -> tasks, one a picture; refused whole where two of them have one target
    work       a task -> an outcome: read, encode or decode, write whole or not at all; never an exception
    processes  tasks x work -> outcomes, in this process or in several of this machine       (concurrent.futures)
    ray_data   the same on a Ray cluster                                                     (Ray Data, an extra)
    manifest   outcomes -> lines of JSON that a restarted run goes on with

Restarting needs no journal: what has its name is whole, since files are written under another name and then renamed.
"""
