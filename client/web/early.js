/** Before anything is painted: the look and the layout that this page had last. */

import { PreferenceStore } from "./net/storage.js";
import { applyLayout, keepRoom } from "./ui/layout.js";
import { applyTheme } from "./ui/theme.js";

const preferences = new PreferenceStore();
const { layout } = preferences.get();
applyTheme(preferences);
if (layout) {
  applyLayout(layout);
  keepRoom(layout);
}
