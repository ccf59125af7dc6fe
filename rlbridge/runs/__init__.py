"""Runs on disk: the folder that a run leaves, who holds it, and how one is started, stopped and read from outside.

It knows run files and no torch: whoever watches or steers a training need not be able to train.
"""
