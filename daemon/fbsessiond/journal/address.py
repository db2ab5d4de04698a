"""A journal's address, as people may read it."""

import re


def shown(url: str) -> str:
    """Return an address without the password that may be in it."""
    url = re.sub(r"(?<=://)([^/:@]*):[^/]*@", r"\1@", url)
    return re.sub(r"(?i)\b(\w*password=)[^&\s]*", r"\1…", url)
