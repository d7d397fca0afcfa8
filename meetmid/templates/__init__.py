"""Pictures to templates, reference means, pools of templates."""
