"""The notebook's recipe on the real pairs, for tests whose figures depend on what a step costs."""

import os
import zipfile

from support.cluster import SOURCE, read, write


MISSING = "neither $LSTMQ_DATA/fra-eng.zip nor .data/fra.txt is there"


def pairs(folder):
    """The path of the real pairs, from fra-eng.zip in $LSTMQ_DATA or from scripts/data.sh; None without both."""
    archive = os.path.join(os.environ.get("LSTMQ_DATA", "/nowhere"), "fra-eng.zip")
    if os.path.exists(archive):
        with zipfile.ZipFile(archive) as file:
            return write(os.path.join(folder, "fra.txt"), file.read("fra.txt"))
    found, edition = (os.path.join(SOURCE, ".data", name) for name in ("fra.txt", "EDITION"))
    real = os.path.exists(found) and os.path.exists(edition) and b"sample" not in read(edition)
    return found if real else None


def pairs_or_skip(test):
    """The same for a test with a .folder, which is skipped without them."""
    found = pairs(test.folder)
    if found is None:
        test.skipTest(MISSING)
    return found
