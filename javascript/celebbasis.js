// What only the WebUI can do for the tab: its own progress bar over a training, its Textual Inversion pages, and
// "Send to txt2img".
// `celebbasis_ext/ui/tab.js` looks for this object when the page is there, and is the same without it.

(() => {
  let shown = "";

  window.celebbasisInWebUI = {
    // Called again and again with what the page knows of the training: {job, state, active}.
    onJob(training) {
      const container = gradioApp().querySelector("#celebbasis_progress");
      if (!container || training.state !== "running" || training.job === shown) return;
      if (!("show_progressbar" in opts)) return;  // the WebUI's options come late, and without them the bar is hidden
      shown = training.job;
      requestProgress(`task(celebbasis-${training.job})`, container, null, () => {});
    },

    // Somebody appeared, changed or went: the cards are built again, as by the pages' own Refresh, one after the other.
    onPeople() {
      ["txt2img", "img2img"].forEach((page, i) => setTimeout(() => {
        const refresh = gradioApp().querySelector(`#${page}_textual_inversion_extra_refresh_internal`);
        refresh?.dispatchEvent(new Event("click"));
      }, 1000 * i));
    },

    send(word) {
      const field = gradioApp().querySelector("#txt2img_prompt textarea");
      if (!field) return;
      field.value = field.value.trim() ? `${field.value.trim()}, ${word}` : `a photo of ${word}`;
      updateInput(field);
      switch_to_txt2img();
    },
  };
})();
