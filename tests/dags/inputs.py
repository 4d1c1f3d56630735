"""The variables and connections that every engine must give to the DAGs, beside the settings."""

VARIABLES = ("CELEBA_DIR", "VISAGE_HOME")
CONNECTIONS = ("fs_default", "git_default", "slack_default", "smtp_default")
