"""The Lambda function behind stream 2: alerts become incidents, notices and metrics."""
