"""How are files not lost? Write beside and rename, locks, temporary files, digests, and where things lie."""
