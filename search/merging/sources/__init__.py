"""What is merged: checkpoints, adapters and task vectors, their files, where they lie and how they fit."""
