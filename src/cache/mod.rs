//! Converted weights on disk: what each was made of, and what may be used.
