"""The studio: setting up, watching, steering and testing runs in a browser, in English and in Chinese.

It trains nothing itself and imports no torch: runs, players and servers are processes of their own
(:mod:`rlbridge.runs`), and everything shown comes from their folders and answers. Pages are NiceGUI's.
"""
