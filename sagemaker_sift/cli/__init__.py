"""The command ``sagemaker-sift``: one file a subcommand, over the public Python API."""
