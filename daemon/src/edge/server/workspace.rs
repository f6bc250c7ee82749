//! `WorkspaceService`.

use std::path::PathBuf;

use quire_proto::v1::{
    FileChange, FoundFile, WorkspaceServiceChangesRequest, WorkspaceServiceChangesResponse,
    WorkspaceServiceFindFilesRequest, WorkspaceServiceFindFilesResponse,
    WorkspaceServiceFindSymbolsRequest, WorkspaceServiceFindSymbolsResponse,
    WorkspaceServiceMapRequest, WorkspaceServiceMapResponse, WorkspaceServiceStatusRequest,
    WorkspaceServiceStatusResponse, workspace_service_server::WorkspaceService,
};
use tonic::{Code, Request, Response, Status};

use super::{
    Services,
    refusals::{invalid, not_yet},
};
use crate::{adapters::workspace, edge::status::refuse};

/// Files that `FindFiles` gives, unless asked otherwise.
const FILES: u32 = 50;

#[tonic::async_trait]
impl WorkspaceService for Services {
    async fn find_files(
        &self,
        request: Request<WorkspaceServiceFindFilesRequest>,
    ) -> Result<Response<WorkspaceServiceFindFilesResponse>, Status> {
        let request = request.into_inner();
        let directory = PathBuf::from(&request.workspace);
        if !directory.is_absolute() {
            return Err(invalid("`workspace` must be an absolute path"));
        }
        let limit = if request.limit == 0 {
            FILES
        } else {
            request.limit
        };
        let found = tokio::task::spawn_blocking(move || {
            workspace::find_files(&workspace::root(&directory), &request.query, limit as usize)
        });
        let (files, total) = found.await.map_err(|error| {
            tracing::error!(%error, "finding files panicked");
            refuse(
                Code::Internal,
                "INTERNAL",
                "quire itself failed; the daemon's log says where",
            )
        })?;
        let files = files.into_iter().map(|file| FoundFile {
            path: file.path,
            score: file.score,
        });
        Ok(Response::new(WorkspaceServiceFindFilesResponse {
            files: files.collect(),
            total,
        }))
    }

    async fn find_symbols(
        &self,
        _request: Request<WorkspaceServiceFindSymbolsRequest>,
    ) -> Result<Response<WorkspaceServiceFindSymbolsResponse>, Status> {
        Err(not_yet("finding symbols"))
    }

    async fn map(
        &self,
        _request: Request<WorkspaceServiceMapRequest>,
    ) -> Result<Response<WorkspaceServiceMapResponse>, Status> {
        Err(not_yet("the map of the repository"))
    }

    async fn changes(
        &self,
        request: Request<WorkspaceServiceChangesRequest>,
    ) -> Result<Response<WorkspaceServiceChangesResponse>, Status> {
        let request = request.into_inner();
        let changes = self.session(&request.session).await?.look().await?.changes;
        let since = changes
            .into_iter()
            .filter(|(turn, _)| *turn >= request.since_turn);
        let files: Vec<FileChange> = since.flat_map(|(_, files)| files).collect();
        Ok(Response::new(WorkspaceServiceChangesResponse { files }))
    }

    async fn status(
        &self,
        _request: Request<WorkspaceServiceStatusRequest>,
    ) -> Result<Response<WorkspaceServiceStatusResponse>, Status> {
        Err(not_yet("the state of the index"))
    }
}
