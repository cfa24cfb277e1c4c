"""What the trainer raises when the job's owner can put it right.

```
sagemaker_sift.trainer.errors
* TrainingError      a mistake in the input, or a resource the job lacks
```

Everything else that escapes is a fault of the program.
"""


class TrainingError(Exception):
    """One clear sentence for the job's owner: the value, the rule, the remedy.

    ``/opt/ml/output/failure`` gets exactly this text, and DescribeTrainingJob shows it as the
    ``FailureReason``, so it must make sense without the log.
    """
