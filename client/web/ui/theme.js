/** Light or dark: as the system says, until the user says otherwise. */

/** @import { PreferenceStore } from "../net/storage.js" */

/** @param {PreferenceStore} preferences */
export function applyTheme(preferences) {
  const { theme } = preferences.get();
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

/** Switch to the other look; back to the system's own when that is the same. @param {PreferenceStore} preferences */
export function toggleTheme(preferences) {
  const systemDark = matchMedia("(prefers-color-scheme: dark)").matches;
  const { theme } = preferences.get();
  const wantDark = !(theme === "auto" ? systemDark : theme === "dark");
  preferences.update({ theme: wantDark === systemDark ? "auto" : wantDark ? "dark" : "light" });
  applyTheme(preferences);
}
