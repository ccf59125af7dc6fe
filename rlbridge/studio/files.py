"""stub"""


def file_links(path): ...
