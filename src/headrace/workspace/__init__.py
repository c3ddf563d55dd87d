"""The workspace: sources, schemas and write keys as records in a database."""
