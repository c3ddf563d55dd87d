"""The workspace: sources, schemas, write keys and warehouses as records in a database."""
