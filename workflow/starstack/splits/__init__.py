"""Who is tested, and which fold holds out which row: made once per study, shared by all models."""
