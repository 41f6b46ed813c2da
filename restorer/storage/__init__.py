"""Files that cannot be lost: write beside and rename, locks, temporary files, digests, and where things lie."""
