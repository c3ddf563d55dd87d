"""The workspace as a file that people keep: written, compared and applied. docs/configuration-file.md says it for users."""
