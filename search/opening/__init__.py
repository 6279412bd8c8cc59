"""Everything that is settled before the first trial: sources, documents, objective, directions, costs. Proposes nothing and scores no candidate."""
