"""What a trial is and what is known of each candidate: records, ranking, budget, scores as people see them. Knows no storage, and makes no proposal."""
