"""Delivery: log -> requests to tools, with every outcome kept. mapping, preparing and retry are pure; worker is the loop."""
