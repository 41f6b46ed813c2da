"""One file a model: what its checkpoints look like, how a crop goes in and a restored face comes out."""
