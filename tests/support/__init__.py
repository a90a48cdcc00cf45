"""What tests share: real processes, and waiting for conditions."""
