"""Code shared by the stages: each stage is a script next to this package."""
