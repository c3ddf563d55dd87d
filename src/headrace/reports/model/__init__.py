"""The schema `email`: right figures from raw e-mail events, kept up to date in the warehouse itself."""
