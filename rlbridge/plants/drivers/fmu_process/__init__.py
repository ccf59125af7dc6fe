"""The program of an FMU's process, in a folder of its own: Python puts a script's folder first on the import path."""
