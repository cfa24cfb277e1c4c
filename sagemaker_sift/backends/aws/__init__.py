"""Amazon SageMaker and the services around it, through boto3: the only place that imports it."""
