"""What the server of the tests wants, which imports nothing of ours and gets it as its argument."""

PASSWORD = "s3cret-word"  # noqa: S105
