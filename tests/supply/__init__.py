"""What the project is built from: versions that are known to go together, what an index says of them, a bill of it all.

Commands for whoever releases it, from the repository's root:

    python -m tests.supply.lock          # writes requirements.lock anew (needs uv)
    python -m tests.supply.index         # asks the package index for every version in it
    python -m tests.supply.sbom FILE     # writes the bill of materials of a wheel (CycloneDX)
"""
