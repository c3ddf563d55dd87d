"""Warehouses: tables and transactions, one file per engine."""
