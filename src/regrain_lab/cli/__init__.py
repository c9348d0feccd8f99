"""The laboratory's commands: `regrain compare | evaluate | explain | pack | train | distill | fine-tune`."""
