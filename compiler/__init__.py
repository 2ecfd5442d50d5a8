"""Front end and driver: the DSL, pipelines, artifacts, verification, one file a command."""
