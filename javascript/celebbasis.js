// What only the WebUI can do for the tab: its own progress bar over a training, its Textual Inversion pages, and
// "Send to txt2img".
// `celebbasis_ext/ui/tab.js` looks for this object when the page is there, and is the same without it.

(() => {
  let shown = "";

  const cardOf = (cards, name) => cards.querySelector(`.card[data-name="${CSS.escape(name)}"]`);

  const drawCard = (page, cards, name) => {
    const asked = { page: "textual inversion", tabname: page, name };
    requestGet("./sd_extra_networks/get-single-card", asked, (answer) => {
      const holder = document.createElement("div");
      holder.innerHTML = answer.html;
      const fresh = holder.firstElementChild, old = cardOf(cards, name);
      fresh.style.display = "";
      cards.querySelector(".nocards")?.remove();
      if (old) old.replaceWith(fresh); else cards.prepend(fresh);
    }, () => {});
  };

  window.celebbasisInWebUI = {
    // Called again and again with what the page knows of the training: {job, state, active}.
    onJob(training) {
      const container = gradioApp().querySelector("#celebbasis_progress");
      if (!container || training.state !== "running" || training.job === shown) return;
      if (!("show_progressbar" in opts)) return;  // the WebUI's options come late, and without them the bar is hidden
      shown = training.job;
      requestProgress(`task(celebbasis-${training.job})`, container, null, () => {});
    },

    // Who appeared or changed gets a card, who is gone loses it; {name: when} before and now. The pages' own Refresh would
    // read all embeddings anew, while somebody draws perhaps: for that time they would mean nothing.
    onPeople(before, now) {
      const pages = ["txt2img", "img2img"].map((page) => [page, gradioApp().querySelector(`#${page}_textual_inversion_cards`)]);
      if (!pages.every(([, cards]) => cards?.firstElementChild)) return false;
      for (const [page, cards] of pages) {
        Object.keys(before).filter((name) => !(name in now)).forEach((name) => cardOf(cards, name)?.remove());
        Object.keys(now).filter((name) => now[name] !== before[name]).forEach((name) => drawCard(page, cards, name));
      }
      return true;
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
