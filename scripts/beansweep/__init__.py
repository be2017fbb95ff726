"""Code shared by the stages: each stage is one script beside this package, named after its rule."""
