"""Where jobs run. A backend is a client with the methods of boto3's SageMaker client."""
