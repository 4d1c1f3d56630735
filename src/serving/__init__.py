"""Answer photographs online with the release of an environment, by the code of that release."""
