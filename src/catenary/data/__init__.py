"""From a folder to cases, classes, findings, splits and a fingerprint."""
