"""lm-eval's tasks over documents of our choice: splits, few-shot examples, metrics, references. Knows no model and no engine."""
