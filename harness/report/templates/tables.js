// What a reader can do with tables beyond reading them; without it the page is whole all the same.
//
// <table class="sortable">: each head of a column becomes a button that sorts: upwards, downwards,
// back to the order of the run. Every row has a cell in each column, but for a heading that is alone
// in its row: where each tbody has one, rows stay below theirs.
// <table data-filter="cells">: a field above it hides the rows ("cells") that lack what is typed.
"use strict";
(() => {
  const NEXT = { none: "ascending", ascending: "descending", descending: "none" };
  const SIZES = { KiB: 2 ** 10, MiB: 2 ** 20 };
  const FIGURE = /^(>|less than |more than )?\s*([-−]?\d[\d.]*)(?: (KiB|MiB))?/;
  const NONE = /^(?:–|n\/r|$)/;
  const words = new Intl.Collator("en", { numeric: true });

  // What a cell says as [kind, number]: figures come first, then bounds such as "> 2 s", then words.
  function rank(said) {
    const found = FIGURE.exec(said.replaceAll(",", ""));
    if (!found) return [2, 0];
    const [, bound, number, size] = found;
    return [bound === ">" ? 1 : 0, Number(number.replace("−", "-")) * (SIZES[size] ?? 1)];
  }

  function compare(one, other) {
    const [kind, number] = rank(one);
    const [otherKind, otherNumber] = rank(other);
    return kind - otherKind || number - otherNumber || words.compare(one, other);
  }

  // What is equal stays in the order that is seen; what says no figure is last, up or down.
  function sorted(rows, column, order) {
    const said = (row) => row.cells[column].textContent.trim();
    const sign = order === "ascending" ? 1 : -1;
    const seen = [...rows].sort((one, other) => one.rowIndex - other.rowIndex);
    const known = seen.filter((row) => !NONE.test(said(row)));
    known.sort((one, other) => sign * compare(said(one), said(other)));
    return [...known, ...seen.filter((row) => NONE.test(said(row)))];
  }

  // The parts of a table in the order of the run: a body, its heading if it has one, its rows.
  function partsOf(table) {
    return [...table.tBodies].map((body) => {
      const heading = [...body.rows].find((row) => row.cells.length === 1);
      return { body, heading, rows: [...body.rows].filter((row) => row !== heading) };
    });
  }

  function makeSortable(table) {
    const parts = partsOf(table);
    const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
    const whole = { body: table.tBodies[0], rows: parts.flatMap((part) => part.rows) };
    const sortedParts = parts.every((part) => part.heading) ? parts : [whole];

    function sort(head) {
      const order = NEXT[head.getAttribute("aria-sort") ?? "none"];
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      if (order === "none") {
        parts.forEach(({ body, rows }) => body.append(...rows));
      } else {
        head.setAttribute("aria-sort", order);
        const column = heads.indexOf(head);
        sortedParts.forEach(({ body, rows }) => body.append(...sorted(rows, column, order)));
      }
      table.classList.toggle("sorted", order !== "none");
    }

    for (const head of heads) {
      const button = document.createElement("button");
      button.type = "button";
      button.title = "Sort by this column";
      button.append(...head.childNodes);
      button.addEventListener("click", () => sort(head));
      head.append(button);
    }
  }

  function makeFilterable(table) {
    const parts = partsOf(table);
    const rows = parts.flatMap((part) => part.rows);
    const noun = table.dataset.filter;
    const searched = new Map();
    for (const part of parts) {
      for (const row of part.rows) {
        const named = [...row.querySelectorAll("th, .verdict, .plain")];
        const said = [part.heading, ...named].map((each) => each?.textContent ?? "");
        searched.set(row, said.join(" ").toLowerCase());
      }
    }

    const field = document.createElement("input");
    field.type = "search";
    const label = document.createElement("label");
    label.append(`Only ${noun} with `, field);
    const told = document.createElement("span");
    told.setAttribute("aria-live", "polite");
    const line = document.createElement("p");
    line.className = "filter";
    line.append(label, " ", told);
    table.closest(".wide").before(line);

    function filter() {
      const wanted = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of rows) {
        row.hidden = !wanted.every((word) => searched.get(row).includes(word));
      }
      for (const part of parts) {
        if (part.heading) part.heading.hidden = part.rows.every((row) => row.hidden);
      }
      const shown = rows.filter((row) => !row.hidden).length;
      told.textContent = wanted.length
        ? `${shown} of ${rows.length} ${noun} shown: those with “${wanted.join(" ")}”.`
        : "";
    }

    // A link to a row that is hidden shows all rows again.
    function reveal(hash) {
      const row = document.getElementById(hash.slice(1));
      if (!row?.hidden || !searched.has(row)) return;
      field.value = "";
      filter();
      row.scrollIntoView();
    }

    field.addEventListener("input", filter);
    document.addEventListener("click", (event) => reveal(event.target.closest("a")?.hash ?? ""));
    addEventListener("hashchange", () => reveal(location.hash));
  }

  document.querySelectorAll("table.sortable").forEach(makeSortable);
  document.querySelectorAll("table[data-filter]").forEach(makeFilterable);
})();
