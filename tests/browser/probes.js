/** Questions that the browser tests ask about the page; evaluated in it as one expression. */
({
  /** What is wider than the window. */
  overflowing() {
    const exempt = ".sprite, .for-readers, .skip, .glow, .scenes *";
    const out = [...document.querySelectorAll("body *")].filter((node) => {
      if (!node.checkVisibility({ visibilityProperty: true }) || node.closest(exempt)) return false;
      const box = node.getBoundingClientRect();
      return box.width > 1 && (box.left < -1 || box.right > innerWidth + 1);
    });
    return {
      wide: document.documentElement.scrollWidth > innerWidth,
      out: out.map((node) => node.id || node.className || node.tagName),
    };
  },

  /** Visible text whose contrast with the nearest opaque background is below WCAG 2.2 AA. */
  lowContrast() {
    const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const known = new Map();
    const rgba = (colour) => {
      if (!known.has(colour)) {
        probe.clearRect(0, 0, 1, 1);
        probe.fillStyle = colour;
        probe.fillRect(0, 0, 1, 1);
        known.set(colour, [...probe.getImageData(0, 0, 1, 1).data]);
      }
      return known.get(colour);
    };
    const linear = (value) => (value <= 10.31475 ? value / 3294.6 : ((value / 255 + 0.055) / 1.055) ** 2.4);
    const luminance = ([red, green, blue]) =>
      0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
    const behind = (node) => {
      for (let each = node; each; each = each.parentElement) {
        const colour = rgba(getComputedStyle(each).backgroundColor);
        if (colour[3] > 180) return colour;
      }
      return [255, 255, 255, 255];
    };
    const exempt = ".for-readers, .skip, noscript, .scene, :disabled";
    const poor = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let text = walker.nextNode(); text; text = walker.nextNode()) {
      const node = text.parentElement;
      const options = { opacityProperty: true, visibilityProperty: true };
      if (!text.data.trim() || !node.checkVisibility(options) || node.closest(exempt)) continue;
      const style = getComputedStyle(node);
      const light = [luminance(rgba(style.color)), luminance(behind(node))].sort((a, b) => b - a);
      const ratio = (light[0] + 0.05) / (light[1] + 0.05);
      const size = parseFloat(style.fontSize);
      const large = size >= 24 || (size >= 18.7 && Number(style.fontWeight) >= 700);
      if (ratio < (large ? 3 : 4.5)) poor.push(`${text.data.trim()}: ${ratio.toFixed(2)}`);
    }
    return poor;
  },

  /** Controls that a screen reader could not name. */
  nameless() {
    return [...document.querySelectorAll("button, input, textarea, select, summary")]
      .filter((node) => node.checkVisibility())
      .filter((node) => !node.getAttribute("aria-label") && !node.textContent.trim())
      .filter((node) => !node.labels?.length)
      .map((node) => node.id || node.outerHTML.slice(0, 80));
  },

  /** Where the keyboard is, and whether that can be seen. */
  focus() {
    const node = document.activeElement;
    const style = getComputedStyle(node.matches(".scene input") ? node.parentElement : node);
    return {
      tag: node.tagName,
      id: node.id || node.className || node.value || node.textContent.trim(),
      ring: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    };
  },

  /** Animations that take longer than a blink. */
  moving() {
    return document.getAnimations()
      .filter((each) => each.effect.getComputedTiming().duration > 50)
      .map((each) => each.animationName ?? each.transitionProperty);
  },
})
