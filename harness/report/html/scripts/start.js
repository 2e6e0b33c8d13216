// The page starts: what is on top first.

const start = async () => {
  const boards = await unpack("boards");
  showFilters(boards);
  const tables = showLeaderboard(boards);
  showOverview(boards, tables);
  showPanels("networks", true);
  showPanels("tuning");
  showCurves();
  showTraining();
  showMasks();
  showSamples();
  showSuites();
  showLeftOut();
  followHash();
  performance.mark("usable");
};
start().catch(failed);
